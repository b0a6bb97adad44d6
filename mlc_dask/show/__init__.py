"""What people see: the report, exports, the viewer, and notebooks."""
