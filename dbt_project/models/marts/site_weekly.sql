{{ bucket_measures(place='site_id', grain='week') }}
