"""Running: gates, segments, crews and stages on asyncio, trio, or no loop at all.

On this floor: the engine, what a run knows (`context`), its handle and its faces.  One room each for `gates`,
`crews` (several calls at once), `stages` (nodes that read several lanes or the clock), `guards`, `letters`,
`sources`, `places` (threads, processes), `rx` (RxPY in a run, a run in RxPY) and `streams` (Reactive Streams).
"""
