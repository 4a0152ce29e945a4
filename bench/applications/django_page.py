"""Django, with a page of fifty rows from a template, and the middleware that `startproject` writes."""

from django.conf import settings

PAGE = """<!DOCTYPE html>
<html><head><title>{{ title }}</title></head><body><table>
{% for row in rows %}<tr class="{% cycle 'odd' 'even' %}"><td>{{ row.id }}</td><td>{{ row.name|title }}</td></tr>
{% endfor %}</table></body></html>
"""

settings.configure(
    DEBUG=False,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="for measurements only",
    ROOT_URLCONF=__name__,
    USE_TZ=True,
    MIDDLEWARE=[
        "django.middleware.security.SecurityMiddleware",
        "django.middleware.common.CommonMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
    ],
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    (
                        "django.template.loaders.cached.Loader",
                        [("django.template.loaders.locmem.Loader", {"page.html": PAGE})],
                    )
                ]
            },
        }
    ],
)

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.shortcuts import render  # noqa: E402
from django.urls import path  # noqa: E402


def page(request):
    rows = [{"id": number, "name": f"row {number}"} for number in range(50)]
    return render(request, "page.html", {"title": "Rows", "rows": rows})


urlpatterns = [path("page", page)]
application = get_wsgi_application()
