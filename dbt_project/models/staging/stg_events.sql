{{ staged_events(source('raw', 'events')) }}
