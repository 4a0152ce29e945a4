from django.contrib.auth.decorators import login_required
from django.forms import ModelForm
from django.http import FileResponse
from django.shortcuts import get_object_or_404, redirect, render

from .models import Book


class BookForm(ModelForm):
    class Meta:
        model = Book
        fields = ["title", "author", "file"]


def index(request):
    environ = request.META
    return render(
        request,
        "library/index.html",
        {
            "books": Book.objects.all(),
            "process_group": environ.get("mod_wsgi.process_group"),
            "thread": environ.get("mod_wsgi.thread_id"),
        },
    )


@login_required(login_url="/admin/login/")
def upload(request):
    form = BookForm(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        form.save()
        return redirect("index")
    return render(request, "library/upload.html", {"form": form})


def download(request, number):
    book = get_object_or_404(Book, pk=number)
    return FileResponse(book.file.open("rb"), as_attachment=True)
