{# The site of a camera that the list does not name: the subfolder its files were dropped in, which begins its id. #}
{% macro site_of_unlisted(camera_id) -%}
    case when position('/' in {{ camera_id }}) > 0 then split_part({{ camera_id }}, '/', 1) else 'default' end
{%- endmacro %}


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
