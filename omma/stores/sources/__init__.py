"""Places that publish models: package registries, web servers, folders."""
