"""The compiler: text to syntax, to checked IR, to a plan that the runtime executes."""
