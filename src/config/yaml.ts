/**
 * The parts of the YAML parser that are used, named one by one: imported on demand, a package of the older module format would
 * come out of the bundled program without its names.
 */
export { isAlias, isMap, isScalar, isSeq, LineCounter, parseDocument } from "yaml";
