// A classic script in the head: the chosen theme must be known before the first paint. Everything else is a module.
try {
  const { theme, calm } = JSON.parse(localStorage.getItem("matchpoint") ?? "{}");
  if (["dark", "light", "contrast"].includes(theme)) {
    document.documentElement.dataset.theme = theme;
  }
  if (calm === true) {
    document.documentElement.dataset.motion = "reduced";
  }
} catch {
  // No storage, or not ours: the system's theme is a good answer.
}

// A transition between pages that the browser gives up, as the bars of a phone come or go or a page comes late, is no error.
addEventListener("unhandledrejection", (event) => {
  if (event.reason instanceof DOMException && event.reason.message.startsWith("Transition was ")) {
    event.preventDefault();
  }
});
