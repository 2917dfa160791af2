"""`python -m thesis_utils`: see `runs.shell`."""

from thesis_utils.runs.shell import main

if __name__ == "__main__":
    main()
