// What does not wait for the rest of the code. The theme that was chosen, before anything is drawn: the rest of the code comes later, and a flash of the
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

  // Who this is: the first thing that the code wants to know. src/lib/session.svelte.ts takes the answer.
  try {
    var half = localStorage.getItem('s4t-session:' + new URL(document.baseURI).pathname);
    if (half) {
      window.s4tSession = fetch('v1/session', { headers: { 'X-S4T-Session': half }, credentials: 'same-origin', redirect: 'error' });
      window.s4tSession.catch(function () {});
    }
  } catch (e) {}
})();
