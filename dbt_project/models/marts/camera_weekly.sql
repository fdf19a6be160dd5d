{{ bucket_measures(place='camera_id', grain='week') }}
