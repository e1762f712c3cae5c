"""Tells which names of form fields reach a field of Django and of WTForms, and which names these read.

stdin: {"names": ["profile-email", ...]}
stdout: {"reached": {"Django": [bool, ...], ...}, one for each name, "read": {"Django": ["profile-email", ...], ...}}
"""
import io
import json
import sys
from urllib.parse import quote_plus

import django
from django import forms
from django.conf import settings
from django.http import QueryDict
from werkzeug.datastructures import MultiDict
from werkzeug.formparser import parse_form_data
from wtforms import Form, FieldList, FormField, StringField

settings.configure(USE_TZ=False)
django.setup()

PREFIXES = [None, "user", "profile", "f"]
VALUE = "7"


class Person(forms.Form):
    email = forms.CharField(required=False, show_hidden_initial=True)
    display_name = forms.CharField(required=False)
    displayName = forms.CharField(required=False)
    phone_number = forms.CharField(required=False)
    birth = forms.DateField(required=False, widget=forms.SelectDateWidget)
    emails = forms.CharField(required=False, widget=forms.MultiWidget([forms.TextInput, forms.TextInput]))
    roles = forms.MultipleChoiceField(required=False, choices=[(VALUE, VALUE)])
    manager = forms.SplitDateTimeField(required=False)


class Photo(forms.Form):
    email = forms.FileField(required=False)  # a file that may be cleared, under a denied name


People = forms.formset_factory(Person, extra=3, max_num=3)


def noting(kind, names):
    """A dictionary of kind that notes which names are read."""

    class Noting(kind):
        def get(self, key, *args, **kwargs):
            names.add(key)
            return super().get(key, *args, **kwargs)

        def getlist(self, key, *args, **kwargs):
            names.add(key)
            return super().getlist(key, *args, **kwargs)

        def __contains__(self, key):
            names.add(key)
            return super().__contains__(key)

    return Noting


def management(prefix):
    return "".join(f"&{prefix}-{key}={n}" for key, n in [("TOTAL_FORMS", 3), ("INITIAL_FORMS", 0)])


def django_forms(data):
    for prefix in PREFIXES:
        yield Person(data, prefix=prefix)
    for prefix in PREFIXES[1:]:
        yield from People(data, prefix=prefix).forms


def django_reaches(name):
    query = quote_plus(name) + "=" + VALUE + "".join(management(p) for p in PREFIXES[1:])
    for form in django_forms(QueryDict(query)):
        for bound in form:
            value = bound.data
            if value not in (None, "", [], [None, None], [[None, None]]) and VALUE in str(value):
                return True
    return False


def django_reads():
    names = set()
    data = noting(QueryDict, names)("".join(management(p) for p in PREFIXES[1:])[1:])
    for form in django_forms(data):
        form.has_changed()
        form.is_valid()
    for prefix in PREFIXES:
        photo = Photo(data, {}, prefix=prefix)
        photo.fields["email"].widget = forms.ClearableFileInput()
        photo.is_valid()
    return [n for n in names if "_FORMS" not in n]


class Part(Form):
    value = StringField()


class Member(Form):
    email = StringField()
    display_name = StringField()
    displayName = StringField()
    phone_number = StringField()
    manager = StringField()
    emails = FieldList(StringField(), max_entries=20)
    roles = FieldList(FormField(Part), max_entries=20)


class Group(Form):
    user = FormField(Member)
    f = FieldList(FormField(Member), max_entries=20)


def wtforms_values(form):
    for field in form:
        if isinstance(field, FieldList):
            for entry in field.entries:
                yield from wtforms_values(entry.form) if isinstance(entry, FormField) else [entry.raw_data]
        elif isinstance(field, FormField):
            yield from wtforms_values(field.form)
        else:
            yield field.raw_data


def wtforms_forms(data):
    for prefix in ["", "user", "profile-", "a:", "b/", "c."]:
        yield Member(data, prefix=prefix)
    yield Group(data)


def wtforms_reaches(name):
    body = (quote_plus(name) + "=" + VALUE).encode()
    _, data, _ = parse_form_data({
        "REQUEST_METHOD": "POST", "CONTENT_TYPE": "application/x-www-form-urlencoded", "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
    })
    return any(VALUE in (raw or []) for form in wtforms_forms(data) for raw in wtforms_values(form))


def wtforms_reads():
    names = set()
    for prefix in ["", "user", "profile-", "a-b"]:
        data = noting(MultiDict, names)({"x": "1"})
        Member(data, prefix=prefix)
    return list(names)


work = json.load(sys.stdin)
json.dump({
    "reached": {
        "Django": [django_reaches(n) for n in work["names"]],
        "WTForms": [wtforms_reaches(n) for n in work["names"]],
    },
    "read": {"Django": django_reads(), "WTForms": wtforms_reads()},
}, sys.stdout)
