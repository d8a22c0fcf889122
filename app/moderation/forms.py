from django import forms
from django.utils.translation import gettext_lazy as _

from moderation.models import TEXT_MAX, Report


class ReportForm(forms.Form):
    kind = forms.ChoiceField(label=_("What it is about"), choices=Report.Kind.choices)
    text = forms.CharField(
        label=_("What happened"), required=False, max_length=TEXT_MAX, widget=forms.Textarea(attrs={"rows": 4})
    )


class ActionForm(forms.Form):
    """What staff do to a player. English, as all of their pages."""

    ACTIONS = [
        ("close", "Close the reports"),
        ("rename", "Rename"),
        ("ban", "Ban"),
        ("unban", "Let in again"),
        ("recompute", "Work the ratings out again"),
    ]
    action = forms.ChoiceField(choices=ACTIONS)
    name = forms.CharField(label="New name", required=False, max_length=30)
    reason = forms.CharField(min_length=3, max_length=300, help_text="It stands in the audit trail.")
    sure = forms.BooleanField(label="I mean it")


class GuestForm(forms.Form):
    """What staff do to a guest."""

    action = forms.ChoiceField(choices=[("close", "Close the reports"), ("ban", "Ban"), ("unban", "Let in again")])
    reason = forms.CharField(min_length=3, max_length=300, help_text="It stands in the audit trail.")
    sure = forms.BooleanField(label="I mean it")


class EndForm(forms.Form):
    match = forms.RegexField(r"^[A-Za-z0-9]{1,32}$", label="Match", help_text="What stands behind /m/ in its address.")
    reason = forms.CharField(min_length=3, max_length=300, help_text="It stands in the audit trail.")
    sure = forms.BooleanField(label="I mean it")
