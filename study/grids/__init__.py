"""The grids that ship with the study, one YAML file each."""
