{#
  Where the cameras stand, as far as their ids do not tell: those on the list, and those in site default for all that
  their ids begin like a subfolder. Any other camera keeps its site as long as this text stays.
#}
{% macro places_beyond_ids(relation) %}
    select string_agg((camera_id, site_id, timezone)::text, '|' order by camera_id)
    from {{ relation }}
    where is_listed or (site_id = 'default' and position('/' in camera_id) > 0)
{% endmacro %}


{#
  The distinct values of an index's first column: one index search per value, where DISTINCT would read every row.
  A recursive table `seen` for a `with recursive`; its last row is null.
#}
{% macro distinct_by_index(relation, column) -%}
    (
        select {{ column }}
        from {{ relation }}
        order by {{ column }}
        limit 1
    )
    union all
    select
        (
            select next_one.{{ column }}
            from {{ relation }} as next_one
            where next_one.{{ column }} > seen.{{ column }}
            order by next_one.{{ column }}
            limit 1
        )
    from seen
    where seen.{{ column }} is not null
{%- endmacro %}


{#
  The site of a camera that dim_cameras, left joined, may have lost with the camera's last event. It stood where its id
  tells: a camera that does not cannot go without a full refresh.
#}
{% macro site_of_camera(camera_id, site_id) -%}
    coalesce(
        {{ site_id }},
        case when position('/' in {{ camera_id }}) > 0 then split_part({{ camera_id }}, '/', 1) else 'default' end
    )
{%- endmacro %}
