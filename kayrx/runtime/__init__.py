"""Running: gates, segments, crews and stages on asyncio, trio, or no loop at all."""
