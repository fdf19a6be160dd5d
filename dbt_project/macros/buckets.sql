{#
  When buckets begin and end, on the local clock of a time zone. PostgreSQL's way with zones stays in here.

  Every expression given as an argument appears several times in what comes back: give columns, not computations.
#}

{# The start of the bucket that holds an instant. #}
{% macro bucket_start(grain, instant, zone) -%}
    {{ hour_start(instant, zone) if grain == 'hour' else date_bucket_start(grain, instant, zone) }}
{%- endmacro %}


{# The start of the bucket after the one that starts at `start`. #}
{% macro bucket_end(grain, start, zone) -%}
    {% if grain == 'hour' -%}
    {# One hour on lies in the next bucket, or, where a zone shifts by part of an hour, still in the same. #}
    coalesce(
        nullif({{ hour_start("(" ~ start ~ " + interval '1 hour')", zone) }}, {{ start }}),
        {{ hour_start("(" ~ start ~ " + interval '2 hours' - interval '1 microsecond')", zone) }}
    )
    {%- else -%}
    {{ date_start("((" ~ start ~ " at time zone " ~ zone ~ ")::date + " ~ days_of(grain) ~ ")", zone) }}
    {%- endif %}
{%- endmacro %}


{# The starts of all buckets from the one that starts at `first` to the one that holds `until`: a lateral table. #}
{% macro buckets_between(grain, first, until, zone) -%}
    {% if grain == 'hour' -%}
    (
        select {{ hour_start('step', zone) }} as bucket_start
        from generate_series(
            {{ first }}, {{ until }} + interval '1 hour' - interval '1 microsecond', interval '1 hour'
        ) as steps (step)
        {# A step that falls into the bucket of the step before (a bucket of 90 minutes) adds none. #}
        where
            {{ hour_start('step', zone) }} > step - interval '1 hour'
            and {{ hour_start('step', zone) }} <= {{ until }}
    )
    {%- else -%}
    (
        select {{ date_start('day', zone) }} as bucket_start
        from generate_series(
            date_trunc('day', {{ first }} at time zone {{ zone }}),
            date_trunc('day', {{ until }} at time zone {{ zone }}) + interval '1 day',
            interval '{{ days_of(grain) }} days'
        ) as days (day)
        {# A date that the zone skipped has no start. #}
        where
            ({{ date_start('day', zone) }} at time zone {{ zone }})::date = day
            and {{ date_start('day', zone) }} <= {{ until }}
    )
    {%- endif %}
{%- endmacro %}


{#
  The five minutes that an instant lies in. Since 1973 every bucket of every zone begins at a multiple of five minutes
  of UTC, so that what is true of one instant in them is true of all: zones then need to be asked only once for each
  five minutes in which something happens.
#}
{% macro five_minutes(instant) -%}
    date_bin({{ five_minutes_long() }}, {{ instant }}, timestamptz '1900-01-01 00:00:00+00')
{%- endmacro %}


{% macro five_minutes_long() -%}
    interval '5 minutes'
{%- endmacro %}


{#
  The last instant not after this one at which the local clock struck the hour.

  date_trunc goes by the zone's offset at the instant. Where that offset is younger than the hour and shifted by part
  of one, the clock did not strike at what it gives; the last stroke is then found with the offset before.
#}
{% macro hour_start(instant, zone) -%}
    {% set by_this_offset = "date_trunc('hour', " ~ instant ~ ", " ~ zone ~ ")" -%}
    case
        when date_part('minute', {{ by_this_offset }} at time zone {{ zone }}) = 0 then {{ by_this_offset }}
        else date_trunc('hour', {{ by_this_offset }}, {{ zone }})
    end
{%- endmacro %}


{#
  The start of the day's or week's bucket, by the day whose first instant is the latest that is not after this one.

  That is the local date, or, where a clock that went back over midnight shows the old date again, the next one.
#}
{% macro date_bucket_start(grain, instant, zone) -%}
    {% set today = "(" ~ instant ~ " at time zone " ~ zone ~ ")::date" -%}
    {% set tomorrow = "(" ~ today ~ " + 1)" -%}
    case
        when {{ date_start(tomorrow, zone) }} <= {{ instant }} then {{ date_start(first_date(grain, tomorrow), zone) }}
        else {{ date_start(first_date(grain, today), zone) }}
    end
{%- endmacro %}


{# The date itself, or its Monday. #}
{% macro first_date(grain, day) -%}
    {{ "(" ~ day ~ ")" if grain == 'day' else "date_trunc('week', (" ~ day ~ ")::timestamp)::date" }}
{%- endmacro %}


{% macro days_of(grain) -%}
    {{ return({'day': 1, 'week': 7}[grain]) }}
{%- endmacro %}


{#
  The first instant of a local date.

  Of a midnight that comes twice PostgreSQL takes the second; the first is found with the offset of the day before.
  Of a midnight that the clock skips it takes the instant of the skip, which is right.
#}
{% macro date_start(day, zone) -%}
    {% set midnight = day ~ "::timestamp at time zone " ~ zone -%}
    {% set day_before = "(" ~ midnight ~ " - interval '24 hours')" -%}
    {% set offset_before = "(" ~ day_before ~ " at time zone " ~ zone ~ " - " ~ day_before ~ " at time zone 'UTC')" -%}
    {% set earlier = "((" ~ day ~ "::timestamp - " ~ offset_before ~ ") at time zone 'UTC')" -%}
    case
        when {{ earlier }} < {{ midnight }} and ({{ earlier }} at time zone {{ zone }})::date = {{ day }}
            then {{ earlier }}
        else {{ midnight }}
    end
{%- endmacro %}
