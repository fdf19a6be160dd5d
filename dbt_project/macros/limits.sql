{#
  What the arguments of a function leave of the marts. `limits` is the function's name, by which its arguments are told
  from columns: range_start and range_end, cameras, persons, age_groups, genders, group_by, as many as the function has.
  A null leaves nothing out, and neither does `limits` if it is none.

  Functions read the marts alone, so that whoever calls them needs no right beyond reading those. PostgreSQL puts the text
  of a function into the query that calls it: then the arguments are constants of one plan, and what they do not ask for is
  not planned at all. It does so for a single SELECT, in the FROM of a query, if no argument is a subquery.
#}

{# A mart by its schema and name: the text of a function must not name the database, which may be restored as another. #}
{% macro mart(name) -%}
    {{ ref(name).include(database=false) }}
{%- endmacro %}


{# Another function, likewise. #}
{% macro mart_function(name) -%}
    {{ function(name).include(database=false) }}
{%- endmacro %}


{# The range holds its start, not its end. #}
{% macro in_range(instant, limits) -%}
    {% if limits -%}
    and ({{ limits }}.range_start is null or {{ instant }} >= {{ limits }}.range_start)
    and ({{ limits }}.range_end is null or {{ instant }} < {{ limits }}.range_end)
    {%- endif %}
{%- endmacro %}


{% macro of_persons(person_id, limits) -%}
    {% if limits -%}
    and ({{ limits }}.persons is null or {{ person_id }} = any({{ limits }}.persons))
    {%- endif %}
{%- endmacro %}


{% macro of_cameras(camera_id, limits) -%}
    {% if limits -%}
    and ({{ limits }}.cameras is null or {{ camera_id }} = any({{ limits }}.cameras))
    {%- endif %}
{%- endmacro %}


{# The groups of a session are columns of its own, those of an event are told by what its file says. #}
{% macro of_groups(age_group, gender, limits) -%}
    {% if limits -%}
    and ({{ limits }}.age_groups is null or {{ age_group }} = any({{ limits }}.age_groups))
    and ({{ limits }}.genders is null or {{ gender }} = any({{ limits }}.genders))
    {%- endif %}
{%- endmacro %}


{#
  Events that count, with what the measures look at. A session has the time and the groups of the event that opens it.
  `within` is a condition on event_time in place of the range's.
#}
{% macro chosen_events(limits=none, within=none) %}
    select
        person_id,
        camera_id,
        event_time,
        {{ age_group_of('age_group', 'age') }} as age_group,
        {{ gender_of('gender') }} as gender,
        case when not is_anonymous then person_id end as visitor_id,
        is_entry and not is_repeat as is_entry,
        is_exit and not is_repeat as is_exit,
        opens_session,
        case when opens_session then {{ microseconds_of('dwell_seconds') }} end as dwell_microseconds
    from {{ mart('camera_events') }}
    where
        not is_ignored
        {{ 'and ' ~ within if within else in_range('event_time', limits) | indent(4) }}
        {{ of_persons('person_id', limits) | indent(4) }}
        {{ of_cameras('camera_id', limits) | indent(4) }}
        {{ of_groups(age_group_of('age_group', 'age'), gender_of('gender'), limits) | indent(4) }}
{% endmacro %}


{# The chosen cameras, each once. #}
{% macro chosen_cameras(limits) %}
    select distinct chosen.camera_id collate "C" as camera_id
    from unnest({{ limits }}.cameras) as chosen (camera_id)
{% endmacro %}


{#
  Complete sessions that reach from before `range_end` beyond `range_start`: for each of the table `cameras` and each class
  of length one search of the index on both and the entry, so that what lies far back stays unread. OFFSET keeps them
  from becoming a join of everything with everything.
#}
{% macro presences_within(range_start, range_end, limits) %}
    select
        cameras.*,
        presences.*
    from cameras
    cross join generate_series(0, {{ longest_length_class() }}) as classes (length_class)
    cross join lateral (
        select
            person_id,
            age_group,
            gender,
            entry_time,
            exit_time
        from {{ mart('person_sessions') }}
        where
            camera_id = cameras.camera_id
            and length_class = classes.length_class
            and entry_time > {{ range_start }} - (2 ^ classes.length_class) * interval '1 hour'
            and entry_time < {{ range_end }}
            and exit_time > {{ range_start }}
            and exit_time > entry_time
            {{ of_persons('person_id', limits) | indent(8) }}
            {{ of_groups('age_group', 'gender', limits) | indent(8) }}
        offset 0
    ) as presences
{% endmacro %}


{# By which group_by tells rows apart; the same for all where it is null. #}
{% macro group_key(limits, camera_id, site_id, age_group=none, gender=none) -%}
    case {{ limits }}.group_by
        when 'camera' then {{ camera_id }}
        when 'site' then {{ site_id }}
        {% if age_group %}
        when 'age_group' then {{ age_group }}
        when 'gender' then {{ gender }}
        {% endif %}
        else ''
    end collate "C"
{%- endmacro %}


{# The chosen cameras with the sites that they are told apart by, if they are. #}
{% macro cameras_with_sites(limits) %}
    select
        chosen.camera_id,
        sites.site_id
    from ({{ chosen_cameras(limits) }}) as chosen
    left join (
        select
            camera_id,
            site_id
        from {{ mart('dim_cameras') }}
        where {{ limits }}.group_by = 'site'
    ) as sites on chosen.camera_id = sites.camera_id
{% endmacro %}


{#
  Visits that begin in the range and hold a chosen session, with their id, person, site and these `columns`, as the table
  chosen_visits; it reads the table `events` of chosen_events. A visit's sessions begin in the range as it does, and are among the events, or after the range's end:
  these are looked up, visit by visit, of the few that last until then.
#}
{% macro chosen_visits(limits, columns) %}
visits_in_range as (
    select
        visit_id,
        person_id,
        site_id,
        start_time,
        end_time,
        {{ columns | join(', ') }}
    from {{ mart('visits') }}
    where
        true
        {{ in_range('start_time', limits) | indent(4) }}
        {{ of_persons('person_id', limits) | indent(4) }}
),

{% if limits %}
{% set holds_any = limits ~ '.cameras is null and ' ~ limits ~ '.age_groups is null and ' ~ limits ~ '.genders is null' %}
visits_of_sessions as (
    select visits.visit_id
    from events
    inner join {{ mart('dim_cameras') }} as cameras on events.camera_id = cameras.camera_id
    inner join visits_in_range as visits
        on
            events.person_id = visits.person_id
            and cameras.site_id = visits.site_id
            and events.event_time between visits.start_time and visits.end_time
    where events.opens_session and not ({{ holds_any }})
    union
    select visits.visit_id
    from visits_in_range as visits
    where
        visits.end_time >= {{ limits }}.range_end
        and not ({{ holds_any }})
        and exists (
            select 1
            from {{ mart('person_sessions') }}
            where
                person_id = visits.person_id
                and site_id = visits.site_id
                and entry_time between {{ limits }}.range_end and visits.end_time
                {{ of_cameras('camera_id', limits) | indent(12) }}
                {{ of_groups('age_group', 'gender', limits) | indent(12) }}
            offset 0 /* keeps the search by index from becoming a join of everything with everything */
        )
),
{% endif %}

chosen_visits as (
    select * from visits_in_range
    {% if limits %}
    where ({{ holds_any }}) or visit_id in (select sessions.visit_id from visits_of_sessions as sessions)
    {% endif %}
),
{% endmacro %}
