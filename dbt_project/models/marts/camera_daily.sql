{{ bucket_measures(place='camera_id', grain='day') }}
