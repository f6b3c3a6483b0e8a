"""Many recordings: finding them, workers that segment them, a folder of results that survives interruptions."""
