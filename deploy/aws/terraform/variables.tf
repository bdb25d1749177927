variable "region" {
  type        = string
  description = "Where everything is made."
}

variable "vpc_id" {
  type        = string
  description = "The network of both instances."
}

variable "server_subnet_id" {
  type        = string
  description = "A subnet with a way to the internet: agents and connectors dial the server."
}

variable "connector_subnet_id" {
  type        = string
  description = "The subnet of the private services; a way out is enough."
}

variable "domain" {
  type        = string
  description = "The name of the server, as it stands in its certificate."
}

variable "zone_id" {
  type        = string
  description = "The Route53 zone that holds the domain."
}

variable "email" {
  type        = string
  default     = ""
  description = "Whom the certificate authority tells when a certificate is about to end; empty for nobody."
}

variable "release_bucket" {
  type        = string
  description = "The bucket with the release archive."
}

variable "release_key" {
  type        = string
  description = "The archive in that bucket."
}

variable "release_sha256" {
  type        = string
  description = "Its SHA-256; an instance refuses any other."
  validation {
    condition     = can(regex("^[0-9a-f]{64}$", var.release_sha256))
    error_message = "64 hexadecimal digits."
  }
}

variable "parameters" {
  type        = string
  default     = "/postern"
  description = "Below it lie server/ca.crt, connector/connector.crt, connector/connector.key and connector/ca.crt, each a SecureString."
  validation {
    condition     = can(regex("^(/[A-Za-z0-9_.-]+)+$", var.parameters))
    error_message = "A path such as /postern."
  }
}

variable "key_arn" {
  type        = string
  description = "The KMS key of those parameters and of the volumes."
}

variable "services" {
  type        = map(string)
  description = "What the connector offers: a service's id to the host and port of its backend."
}

variable "backend_cidrs" {
  type        = list(string)
  description = "Where those backends lie."
}

variable "backend_ports" {
  type        = set(number)
  description = "Their TCP ports."
}

variable "instance_type" {
  type        = string
  default     = "t3.small"
  description = "Of both instances; any of its processor's kind will do that the release is for."
}
