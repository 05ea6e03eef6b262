// A switch between the versions of the site that lie side by side; `versions.js` beside them lists them.
document.addEventListener("DOMContentLoaded", () => {
  const brand = document.querySelector(".sidebar-brand");
  if (typeof VERSIONS === "undefined" || VERSIONS.length < 2 || !brand) return;
  const root = new URL(document.documentElement.dataset.content_root, location.href); // .../0.1.0/
  const current = root.pathname.split("/").at(-2);
  const choice = document.createElement("select");
  choice.className = "version-switch";
  choice.setAttribute("aria-label", "Version");
  for (const version of VERSIONS) {
    choice.add(new Option(version, version, version === current, version === current));
  }
  choice.addEventListener("change", () => { location.href = new URL(`../${choice.value}/index.html`, root); });
  brand.after(choice);
});
