/**
 * The schemas of the roles' settings and their loading. The way of a value: `file.ts` and `environment.ts` read, `resolve.ts`
 * joins them with the flags by precedence and checks each against the role's table (`server.ts`, `connector.ts`, `agent.ts`),
 * the role's `finish` checks what settings say together, `material.ts` loads the certificates and keys that they name.
 */

export { AGENT, type AgentSettings, type AgentTable, CONNECT, DOCTOR, type LocalForward } from "./agent.ts";
export { type CommonSettings, type LogFormat } from "./process.ts";
export { DEFAULT_SERVER_PORT, type UplinkSettings } from "./uplink.ts";
export { DEFAULT_P2P_PORT, type P2pSettings } from "./p2p.ts";
export { CONNECTOR, type ConnectorSettings, type ConnectorTable, type ServiceBackend } from "./connector.ts";
export { namesOf, OTHER_VARIABLES } from "./environment.ts";
export { CONFIG_FILE_MAX_BYTES, type ConfigFile, parseConfigFile } from "./file.ts";
export { LIMIT_KINDS, type LimitKey, type LimitSetting } from "./limit.ts";
export { nearest } from "./problem.ts";
export { fileSchema, type FlagValue, type Resolution, resolveSettings, type SettingInputs } from "./resolve.ts";
export { type AnonymousGrant, type ListenAddress, SERVER, type ServerSettings, type ServerTable } from "./server.ts";
export { isForbiddenWebhookAddress, parseMetricsAddress, parseWebhookUrl, requireOneMetricsAddress } from "./ops_address.ts";
export { finishOps, type MetricsAclRule, type OpsSettings, opsSettings } from "./ops.ts";
export {
  flagOf,
  formatSource,
  type Resolved,
  type Role,
  type RoleDefinition,
  ROLES,
  type Setting,
  type SettingTable,
  type ValueSource,
  variableOf,
} from "./setting.ts";
export { type AddressKeys, newAddressKeys, parseAddressKeys, type RetryKeyMaterial } from "./address_keys.ts";
export { type CertificateFacts, isoTime, type MaterialReader, readMaterial } from "./material_file.ts";
export {
  EXPIRY_WARNING_MS,
  type Identity,
  loadClientMaterial,
  loadServerMaterial,
  publicKeyDigest,
  requireServerTrust,
  type RoleMaterial,
  type ServerMaterial,
} from "./material.ts";
export { decodeTokenText, loadToken, type TokenMaterial } from "./token_material.ts";
export { CRL_WARNING_MS, type RevocationMaterial } from "./revocation.ts";
export { exampleYaml, flagNames, jsonSchema } from "./example.ts";
export { parseServerName } from "./value.ts";
export { loadSystemTrust, loadTrust, SYSTEM_BUNDLES } from "./trust.ts";
