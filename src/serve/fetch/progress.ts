/** Progress lines for a person while a pack is made and sent, in Git's own words. */
import type { PackNews } from "../../odb/pack-objects/pack-stream.js";

export class FetchProgress {
  #saidFound = 0;
  #counted = false;

  /** Lines due now, "" if none. `final`: the pack has been sent, of `count` objects. */
  next(news: PackNews): string {
    if (this.#counted) return "";
    if (news.plan !== undefined || news.whole) return this.#count(news.plan?.objects ?? news.found);
    if (news.found === this.#saidFound) return "";
    this.#saidFound = news.found;
    return `Enumerating objects: ${news.found}\r`;
  }

  /** Returns the line that closes the report of a pack of `count` objects. */
  last(news: PackNews, count: number): string {
    const before = this.#counted ? "" : this.#count(count);
    const { plan } = news;
    if (plan === undefined)
      return `${before}Total ${count} (delta 0), reused 0 (delta 0), pack-reused ${count}\n`;
    const { objects, deltas, reused, whole } = plan;
    const compressed = whole === 0 ? "" : `Compressing objects: 100% (${whole}/${whole}), done.\n`;
    return `${before}${compressed}Total ${objects} (delta ${deltas}), reused ${reused} (delta ${deltas}), pack-reused 0\n`;
  }

  #count(objects: number): string {
    if (objects === 0) return "";
    this.#counted = true;
    return `Enumerating objects: ${objects}, done.\nCounting objects: 100% (${objects}/${objects}), done.\n`;
  }
}
