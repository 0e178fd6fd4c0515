# not yet
:
