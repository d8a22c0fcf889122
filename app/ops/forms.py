"""Silencing an alert: which labels have to fit, for how long, and why."""

import re
from datetime import timedelta
from typing import Any, cast

from django import forms
from django.core.exceptions import ValidationError

from ops.alertmanager import HEARTBEAT, Matcher

DURATIONS = {"30m": "30 minutes", "1h": "1 hour", "2h": "2 hours", "4h": "4 hours", "8h": "8 hours", "24h": "24 hours"}
_UNITS = {"m": "minutes", "h": "hours"}
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_LABELS_MAX, _VALUE_MAX = 20, 200
# What tells one alert of a kind from another; the rest follows from these, or is the same for all
_USUAL = {"host", "job", "worker", "process", "target", "device", "mountpoint", "name"}


def labels_read(query: dict[str, str]) -> dict[str, str]:
    """The labels in a page's address. Raises ValidationError unless they are of an alert that may be silenced."""
    labels = {name: value for name, value in query.items() if value}
    if "alertname" not in labels:
        raise ValidationError("The address does not say which alert.")
    if labels["alertname"] == HEARTBEAT:
        raise ValidationError(f"{HEARTBEAT} is the heartbeat of alerting: it is never silenced.")
    if len(labels) > _LABELS_MAX or not all(
        _LABEL.fullmatch(name) and len(value) <= _VALUE_MAX for name, value in labels.items()
    ):
        raise ValidationError("The address has labels that no alert has.")
    return labels


class SilenceForm(forms.Form):
    """A silence for alerts of one name; the other labels of the alert narrow it down."""

    narrow = forms.MultipleChoiceField(
        label="Only with", required=False, widget=forms.CheckboxSelectMultiple, help_text="Fewer ticks silence more."
    )
    duration = forms.ChoiceField(label="For", choices=list(DURATIONS.items()), initial="1h", widget=forms.RadioSelect)
    comment = forms.CharField(
        label="Why, and who is on it", min_length=5, max_length=300, help_text="The next person reads this."
    )

    def __init__(self, labels: dict[str, str], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._labels = labels
        others = {name: value for name, value in sorted(labels.items()) if name != "alertname"}
        field = cast(forms.MultipleChoiceField, self.fields["narrow"])  # as declared above
        field.choices = [(name, str(Matcher(name, value))) for name, value in others.items()]
        field.initial = [name for name in others if name in _USUAL]
        if not others:
            del self.fields["narrow"]

    @property
    def matchers(self) -> list[Matcher]:
        names = ["alertname", *self.cleaned_data.get("narrow", [])]
        return [Matcher(name, self._labels[name]) for name in names]

    @property
    def length(self) -> timedelta:
        chosen = self.cleaned_data["duration"]
        return timedelta(**{_UNITS[chosen[-1]]: int(chosen[:-1])})
