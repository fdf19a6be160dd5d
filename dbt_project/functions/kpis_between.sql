-- depends_on: {{ ref('kpis') }}
{{ kpis(limits='kpis_between') }}
