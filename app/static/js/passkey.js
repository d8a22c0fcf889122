/** What allauth's scripts leave out: pages say when a passkey cannot be used, or was not. */

const BUTTONS = "#passkey_login, #mfa_webauthn_add, #mfa_webauthn_authenticate, #mfa_webauthn_reauthenticate";

const button = /** @type {HTMLButtonElement | null} */ (document.querySelector(BUTTONS));
const notice = document.querySelector("#passkey-alert");

/** @param {"missing" | "failed"} why */
function tell(why) {
  if (!(notice instanceof HTMLElement)) { return; }
  notice.textContent = notice.dataset[why] ?? "";
  notice.hidden = false;
}

const row = button?.closest(".button-row") ?? button;
if (row && notice) { row.after(notice); }
if (window.PublicKeyCredential && window.isSecureContext) {
  row?.removeAttribute("hidden");
} else if (button && button.id !== "passkey_login") {  // who logs in has other ways, and sees no button
  button.disabled = true;
  tell("missing");
}
document.addEventListener("allauth.error", (event) => {
  event.preventDefault();
  tell("failed");
});
