import { svelte } from '@sveltejs/vite-plugin-svelte';
import { defineConfig } from 'vite';

const none = new URL('./src/lib/none.ts', import.meta.url).pathname;

/** The chunk of a module that the first page needs and others use too: one of those that the terminal's page
 * shares, and one of the rest. What is asked for one by one is waited for one by one, by slow processors too. */
function chunk(id: string, of: { getModuleInfo(id: string): { importers: readonly string[] } | null }): string | null {
  const above = new Set([id]);
  for (const one of above) for (const importer of of.getModuleInfo(one)?.importers ?? []) above.add(importer);
  const by = (entry: string) => [...above].some((a) => a.endsWith(entry));
  return by('/src/main.ts') ? (by('/src/term.ts') ? 'base' : 'first') : null;
}

// The bundle is committed: names are stable, so that a change touches the files it changes, and
// nothing in it depends on where or when it was built. Class hashes follow the text of the styles:
// by default they follow the path.
export default defineConfig({
  base: './',
  plugins: [svelte({ compilerOptions: { runes: true, cssHash: ({ hash, css }) => `s-${hash(css)}` } })],
  // The SSH library has two sets of algorithms, and in a browser takes the browser's: those of Node
  // stay out, and what they and its streams extend is empty.
  resolve: { alias: [{ find: /^(\.\/node\/node\w+|stream|crypto|net|os|path|util)$/, replacement: none }] },
  build: {
    target: 'es2022',
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1024,
    rolldownOptions: {
      input: ['index.html', 'term.html'],
      output: {
        codeSplitting: { groups: [{ name: chunk, minShareCount: 2, includeDependenciesRecursively: false }] },
        entryFileNames: 'a/[name].js',
        chunkFileNames: 'a/[name].js',
        assetFileNames: 'a/[name][extname]',
      },
    },
  },
  test: { include: ['src/**/*.test.ts'] },
} as Parameters<typeof defineConfig>[0]);
