import sys

print("region:", sys.argv[1])
