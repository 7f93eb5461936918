"""How bakeoff speaks to models: endpoints, prices, one client, recordings, engines. Imports no other room."""
