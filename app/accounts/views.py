from typing import Any

from allauth.account.models import get_emailconfirmation_model
from allauth.account.views import ConfirmEmailView
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from accounts.forms import GuestForm, ProfileForm
from accounts.models import User
from accounts.players import guest_rename, player_get
from accounts.second_factor import second_factor_exists
from matches.selectors import record_of


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: HttpRequest) -> HttpResponse:
    # A copy of request.user: a refused name must not show in the page's header.
    user = get_object_or_404(User, pk=request.user.pk)
    form = ProfileForm(request.POST or None, instance=user)
    if request.method == "POST" and form.is_valid():
        form.save()
        messages.success(request, _("Your profile is saved."))
        return redirect("profile")
    context = {"form": form, "record": record_of(user=user), "has_second_factor": second_factor_exists(user)}
    return render(request, "accounts/profile.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
def guest(request: HttpRequest) -> HttpResponse:
    """Where a guest takes a name; it is in the cookie, and in the matches from then on."""
    player = player_get(request)
    if not player.is_guest:
        return redirect("profile")
    form = GuestForm(request.POST if request.method == "POST" else None, initial={"name": player.name})
    if form.is_valid():
        messages.success(request, _("That is your name from now on."))
        guest_rename(request, form.cleaned_data["name"])
        return redirect("home")
    return render(request, "accounts/guest.html", {"form": form})


class AddressConfirmView(ConfirmEmailView):
    """Confirms an address for who can log in to its account: a click alone gave it to whoever registered with it."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        confirmation = get_emailconfirmation_model().from_key(kwargs["key"])
        if confirmation is not None and not request.user.is_authenticated:
            return redirect_to_login(request.path)
        if confirmation is not None and confirmation.email_address.user_id != request.user.pk:
            messages.error(request, _("That link is for another account. Log in there, and open it again."))
            return redirect("profile")
        return super().dispatch(request, *args, **kwargs)
