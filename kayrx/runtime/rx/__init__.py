"""The two ways between RxPY and a run: Rx inside a segment, a graph as an Observable."""
