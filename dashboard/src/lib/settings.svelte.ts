/** What a person chose for this browser: kept in localStorage, never sent. */
export type Theme = 'system' | 'light' | 'dark';

const key = 's4t-settings';

class Settings {
  theme = $state<Theme>('system');
  contrast = $state(false);
  /** Whether it is dark now, by choice or by the system's. */
  dark = $state(false);

  constructor() {
    try {
      const kept = JSON.parse(localStorage.getItem(key) ?? '{}') as { theme?: Theme; contrast?: boolean };
      if (kept.theme === 'light' || kept.theme === 'dark') this.theme = kept.theme;
      this.contrast = kept.contrast === true;
    } catch {
      // What cannot be read is as if nothing had been chosen.
    }
  }

  /** Shows the choice, now and when the system's changes, and keeps it. */
  apply() {
    const dark = matchMedia('(prefers-color-scheme: dark)');
    const more = matchMedia('(prefers-contrast: more)');
    const show = () => {
      const root = document.documentElement.dataset;
      this.dark = this.theme === 'system' ? dark.matches : this.theme === 'dark';
      root.theme = this.dark ? 'dark' : 'light';
      root.contrast = this.contrast || more.matches ? 'more' : 'normal';
    };
    dark.addEventListener('change', show);
    more.addEventListener('change', show);
    $effect.root(() => {
      $effect(() => {
        show();
        try {
          localStorage.setItem(key, JSON.stringify({ theme: this.theme, contrast: this.contrast }));
        } catch {
          // It is chosen for this page only.
        }
      });
    });
  }
}

export const settings = new Settings();
