/** What projects are called, as far as one sees them: leases name them by id. */
import { get, Problem, type Project } from './api.ts';
import { session } from './session.svelte.ts';

class Projects {
  #names = $state.raw(new Map<string, string>());
  #asked = false;

  /** The name of a project, or the begin of its id. */
  name(id: string | undefined): string {
    if (!id) return '';
    if (id === session.who?.project) return session.who.project_name;
    if (!this.#names.has(id)) this.#ask();
    return this.#names.get(id) ?? `project ${id.slice(0, 8)}`;
  }

  /** Notes a name that was told beside something else. */
  note(id: string | undefined, name: string | undefined) {
    if (!id || !name || this.#names.get(id) === name) return;
    this.#names = new Map(this.#names).set(id, name);
  }

  #ask() {
    if (this.#asked) return;
    this.#asked = true;
    get<Project[]>(['projects']).then(
      (all) => (this.#names = new Map([...this.#names, ...all.map((p) => [p.id, p.name] as const)])),
      (e) => {
        if (!(e instanceof Problem)) throw e;
      },
    );
  }
}

export const projects = new Projects();
