import sys

print("days:", sys.argv[sys.argv.index("--days") + 1])
