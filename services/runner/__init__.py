"""The runner makes load and publishes every outcome. It must not judge a run or write a table."""
