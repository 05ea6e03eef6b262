"""What one looks at: gradient checks, the insides of a net, pictures, the report page, the configuration."""
