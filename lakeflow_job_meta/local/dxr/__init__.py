"""The Data X-Ray simulator: speaks Data X-Ray's HTTP contract over loopback and really classifies bytes.

What lives here: On-Demand Classifier jobs (`submit`, `crawl`), the index and its search (`store`,
`search`, `documents`), the public v1 endpoints (`stream`, `lookups`, `kql`), classification (`rules`,
`text`, `checks`, `classify`), and everything that can go wrong on demand (`knobs`, `faults`). `serving`
runs it: alone in the foreground, or as a child process of an embedded workspace that is started by the
first connection to its socket.

What may not live here: a client of Data X-Ray, or anything that the product needs in the cloud. It is a
development and test tool: where the public contract is silent, it had to choose.
"""
