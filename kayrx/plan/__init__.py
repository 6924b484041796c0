"""From graph to plan to code: check, expand, cut, fuse, then text that Python compiles.

Pure: the same graph and options give an equal plan, nothing is opened, and no event loop or Rx
library is loaded (`lower` alone knows reactivex, and is imported only for Observable faces).
"""
