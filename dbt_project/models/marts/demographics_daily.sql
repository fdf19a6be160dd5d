{{ bucket_measures(place='site_id', grain='day', groups=['age_group', 'gender']) }}
