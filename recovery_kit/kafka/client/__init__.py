"""From a client.properties file to a connection: settings, TLS, SASL, secrets; what failed."""
