"""The functions that are called."""


def nothing(value=None):
    """A call that costs what a call costs."""


def tiny(value):
    return value + 1


def echo(array):
    return array
