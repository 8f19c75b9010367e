import sys

print("the day is", sys.argv[sys.argv.index("--day") + 1])
