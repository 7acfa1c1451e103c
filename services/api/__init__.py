"""The API's home: commands, reads, live streams and the page over HTTP. It must not project or judge anything."""
