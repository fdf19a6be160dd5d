{{ kpis() }}
