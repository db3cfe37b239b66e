// The theme that was chosen, before anything is drawn: the rest of the code comes later, and a flash of the
// other theme would be seen. src/lib/settings.svelte.ts keeps what this reads.
(function () {
  var kept = {};
  try {
    kept = JSON.parse(localStorage.getItem('s4t-settings') || '{}') || {};
  } catch (e) {}
  var is = function (q) { return matchMedia(q).matches; };
  var dark = kept.theme === 'dark' || (kept.theme !== 'light' && is('(prefers-color-scheme: dark)'));
  document.documentElement.dataset.theme = dark ? 'dark' : 'light';
  document.documentElement.dataset.contrast = kept.contrast === true || is('(prefers-contrast: more)') ? 'more' : 'normal';
})();
