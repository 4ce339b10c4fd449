/** A finding of `lakepack doctor`. */
export interface Check {
  readonly name:
    | "settings"
    | "data"
    | "permissions"
    | "disk"
    | "store"
    | "database"
    | "repositories"
    | "clock"
    | "front end"
    | "lakefs"
    | "history";
  readonly good: boolean;
  readonly found: string;
  /** Advice for the operator; only where it is not good. */
  readonly advice?: string;
}
