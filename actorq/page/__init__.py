"""`actorq monitor`: one server as a web page. It looks once a second, and writes only when told to."""
