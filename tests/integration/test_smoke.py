from tests.integration.asking_api import api_of, fill


def test_smoke(models, tmp_path):
    fill(models)
    with api_of(models.warehouse, tmp_path) as api:
        import json
        from serving.api.routes import QUESTIONS

        for q in QUESTIONS:
            if "{" in q.path:
                continue
            for extra in (
                {},
                {"start": "2024-03-30", "end": "2024-04-04T12:00", "site_id": "berlin"},
                {"group_by": "camera", "interval": "day"},
                {"group_by": "gender"},
                {"person_id": ["p", "q"]},
                {"camera_id": "N"},
                {"gender": "female"},
                {"format": "csv"},
            ):
                a = api.ask(q.path, **extra)
                print(
                    q.path, extra, a.status, len(a.text), a.text[: 700 if a.status == 500 else 330].replace("\n", " / ")
                )
